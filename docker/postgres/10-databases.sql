-- Runs once, at the first start of compose's PostgreSQL. Creates a role and a database for the ledger, and for Airflow.
-- The passwords come from the container's environment and appear on no command line.
\getenv offload_password POSTGRES_OFFLOAD_PASSWORD
\getenv airflow_password POSTGRES_AIRFLOW_PASSWORD
CREATE ROLE offload LOGIN PASSWORD :'offload_password';
CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
ALTER DATABASE offload OWNER TO offload;
CREATE DATABASE airflow OWNER airflow;
-- Each role can connect only to its own database.
REVOKE CONNECT ON DATABASE offload FROM PUBLIC;
REVOKE CONNECT ON DATABASE airflow FROM PUBLIC;
