"""AWS Lambda: the same apps, called with what API Gateway, EventBridge, SQS and SNS hand over."""
