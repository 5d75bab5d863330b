"""What can be computed about straggler-aware SGD without training anything."""
