"""From a checkpoint on disk or on the hub to a `_core.Model`. Use `tritium.load`."""
