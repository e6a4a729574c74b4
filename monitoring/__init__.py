"""Monitors the offload from outside: metrics exporter, Prometheus rules, Alertmanager routes, Grafana dashboard."""
