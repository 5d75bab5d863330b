"""Speed and accuracy, side by side with the alternatives; ``python -m benchmarks --help`` lists the parts."""
