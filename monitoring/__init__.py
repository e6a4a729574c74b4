"""What watches the offload from outside: the metrics exporter, Prometheus' rules, Alertmanager's routes, Grafana's dashboard."""
