// In a frame of another page of the same site, links that lead away from here must open in the whole window.
// The frame is a sandbox whose own links cannot do that, so the page around it follows the link.
(() => {
  "use strict";
  const root = document.body.dataset.root;
  if (!root || window.top === window.self) return;
  document.getElementById("offload-home")?.remove();
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (link.origin === window.location.origin && link.pathname.startsWith(`${root}/`)) return;
    event.preventDefault();
    const outside = window.top.document.createElement("a");
    outside.href = link.href;
    window.top.document.body.append(outside);
    outside.click();
    outside.remove();
  });
})();

// Fetches the page's content again and again and replaces it. Focus, open details and scroll position stay.
(() => {
  "use strict";
  const live = document.getElementById("offload-live");
  if (!live) return;
  const stale = document.getElementById("offload-stale");
  const every = Number(live.dataset.every) * 1000;
  const timeout = 30000;
  let fetchedAt = Date.now();
  let isFetching = false;

  const ago = (milliseconds) => {
    const seconds = Math.round(milliseconds / 1000);
    if (seconds < 2) return "just now";
    if (seconds < 60) return `${seconds} s ago`;
    const minutes = Math.floor(seconds / 60);
    return minutes < 60 ? `${minutes} min ago` : `${Math.floor(minutes / 60)} h ${minutes % 60} min ago`;
  };

  const showAge = () => {
    const age = live.querySelector("[data-age]");
    const text = ago(Date.now() - fetchedAt);
    if (age && age.textContent !== text) age.textContent = text;
  };

  // Says once that the content can't be refreshed, and again only if the reason changes: screen readers read it out.
  const warn = (reason, link) => {
    const since = live.querySelector("time")?.textContent ?? "";
    const text = `Not refreshed since ${since}: ${reason}`;
    live.classList.add("is-stale");
    if (!stale.hidden && stale.firstChild?.textContent === text) return;
    stale.replaceChildren(document.createTextNode(text));
    if (link) {
      const login = document.createElement("a");
      login.href = window.location.href;
      login.textContent = link;
      stale.append(" ", login);
    }
    stale.hidden = false;
  };

  const isReading = () => {
    const selection = window.getSelection();
    return Boolean(selection && !selection.isCollapsed && live.contains(selection.anchorNode));
  };

  const swap = (html) => {
    const focused = live.contains(document.activeElement) ? document.activeElement.id : "";
    const open = new Set([...live.querySelectorAll("details[open]")].map((one) => one.id));
    const parsed = new DOMParser().parseFromString(html, "text/html");
    live.replaceChildren(...parsed.body.childNodes);
    live.querySelectorAll("details").forEach((one) => { one.open = open.has(one.id); });
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    live.classList.remove("is-stale");
    stale.hidden = true;
    fetchedAt = Date.now();
    showAge();
  };

  const refresh = async () => {
    if (isFetching || document.hidden || isReading()) return;
    isFetching = true;
    try {
      const answer = await fetch(live.dataset.refresh, {
        headers: { "X-Requested-With": "fetch" },
        cache: "no-store",
        redirect: "manual",
        signal: AbortSignal.timeout(timeout),
      });
      const { status } = answer;
      if (answer.headers.get("X-Iceberg-Offload") === "content") swap(await answer.text());
      else if (status === 401 || answer.type === "opaqueredirect") warn("you are logged out.", "Log in again");
      else if (status === 403) warn("you may no longer see this DAG. Ask an Airflow administrator.");
      else warn(`Airflow answers with an error (${status}). Check that its database is up; the page keeps trying.`);
    } catch {
      warn("Airflow does not answer; the page keeps trying.");
    } finally {
      isFetching = false;
    }
  };

  window.setInterval(showAge, 1000);
  window.setInterval(refresh, every);
  document.addEventListener("visibilitychange", () => { if (Date.now() - fetchedAt > every) refresh(); });
})();
