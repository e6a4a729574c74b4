// In the frame of another page of the same site, whatever leads away from here leads away in the whole window. That frame is a sandbox from
// which no link does: it is the page around it that follows the link.
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

// Fetches the page's content again and again and swaps it, without moving the reader: focus, open details and scrolling stay.
(() => {
  "use strict";
  const live = document.getElementById("offload-live");
  if (!live) return;
  const stale = document.getElementById("offload-stale");
  const every = Number(live.dataset.every) * 1000;
  const patience = 30000;
  let arrived = Date.now();
  let isAsking = false;

  const words = (milliseconds) => {
    const seconds = Math.round(milliseconds / 1000);
    if (seconds < 2) return "just now";
    if (seconds < 60) return `${seconds} s ago`;
    const minutes = Math.floor(seconds / 60);
    return minutes < 60 ? `${minutes} min ago` : `${Math.floor(minutes / 60)} h ${minutes % 60} min ago`;
  };

  const tellAge = () => {
    const age = live.querySelector("[data-age]");
    const told = words(Date.now() - arrived);
    if (age && age.textContent !== told) age.textContent = told;
  };

  // The part that can't be refreshed says so once, and again when the reason changes: screen readers read it out.
  const complain = (reason, link) => {
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
    arrived = Date.now();
    tellAge();
  };

  const refresh = async () => {
    if (isAsking || document.hidden || isReading()) return;
    isAsking = true;
    try {
      const answer = await fetch(live.dataset.refresh, {
        headers: { "X-Requested-With": "fetch" },
        cache: "no-store",
        redirect: "manual",
        signal: AbortSignal.timeout(patience),
      });
      if (answer.headers.get("X-Iceberg-Offload") === "content") swap(await answer.text());
      else if (answer.status === 401 || answer.type === "opaqueredirect") complain("you are logged out.", "Log in again");
      else if (answer.status === 403) complain("you may no longer see this DAG. Ask an Airflow administrator.");
      else complain(`Airflow answers with an error (${answer.status}); see that its database is up. It is asked again by itself.`);
    } catch {
      complain("Airflow does not answer. It is asked again by itself.");
    } finally {
      isAsking = false;
    }
  };

  window.setInterval(tellAge, 1000);
  window.setInterval(refresh, every);
  document.addEventListener("visibilitychange", () => { if (Date.now() - arrived > every) refresh(); });
})();
