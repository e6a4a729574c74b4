"""The page that shows how every table is: `read` asks the ledger, `compute` makes the page's words of it, `render` the HTML.

It knows no web framework: whoever serves it gives it links and serves `page.css` and `page.js` beside it.
"""
