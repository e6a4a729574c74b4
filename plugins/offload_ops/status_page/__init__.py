"""The page that shows the state of every table.

`read` queries the ledger, `compute` builds a model of texts, figures and links, and `render` makes HTML of it. None of
them knows a web framework: the server of the page supplies the links and serves `page.css` and `page.js` beside it.
"""
