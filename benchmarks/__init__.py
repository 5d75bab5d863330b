"""Speed and accuracy, side by side with the alternatives.

``python -m benchmarks`` prints the speed of the theory; ``python -m benchmarks.choice`` how good its choices are.
"""
