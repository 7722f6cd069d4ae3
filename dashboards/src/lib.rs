//! Renders the metric table to CloudWatch and Grafana dashboards.
