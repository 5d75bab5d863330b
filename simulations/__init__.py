"""What happens when a model is really trained: an event simulator of straggler-aware SGD."""
