"""The servers that `holdfast up` starts when no URL names another."""
