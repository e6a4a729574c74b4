"""The ClickHouse engine as a server process, for machines without ClickHouse or Docker.

`python -m devstack.clickhouse_server --help` shows the command. The engine is the real one (chdb). This package adds
what the library lacks: the HTTP and native TCP protocols, the password, query ids, and the cancellation of queries
whose client has left.

| module | contents |
|---|---|
| `cli` | the command: options, ready file, signals |
| `engine` | the engine in this process: sessions, settings, queries, inserts |
| `cancellation` | which queries run, and how to cancel one |
| `sql` | just enough of the SQL grammar to route a statement |
| `http` | the HTTP protocol (aiohttp) |
| `native` | the native TCP protocol |
"""
