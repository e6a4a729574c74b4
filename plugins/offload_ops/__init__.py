"""What operators use: status, audit, alerts, reports, the status page, the doctor and the command line."""
