"""The ClickHouse engine as a server process of its own, for machines without ClickHouse or Docker.

`python -m devstack.clickhouse_server --help` shows the command. The engine is the real one (chdb); this package adds what the
library leaves out: the HTTP and native TCP protocols, the password, the query ids, and ending queries nobody waits for.

| module | knows |
|---|---|
| `cli` | the command: options, ready file, signals |
| `engine` | the engine in this process: sessions, settings, queries, inserts |
| `cancellation` | which queries run, and how to end one |
| `sql` | just enough of the SQL grammar to route a statement |
| `http` | the HTTP protocol (aiohttp) |
| `native` | the native TCP protocol |
"""
