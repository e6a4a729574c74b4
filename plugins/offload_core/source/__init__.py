"""Reading ClickHouse: the HTTP client, queries, table descriptions, projections and schema drift."""
