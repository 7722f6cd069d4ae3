//! Renders the alarm table to CloudFormation, CloudWatch JSON and Prometheus rules.
