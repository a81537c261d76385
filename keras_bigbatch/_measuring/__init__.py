"""What callbacks and diagnostics share: losses, gradients, batches, and when to measure."""
