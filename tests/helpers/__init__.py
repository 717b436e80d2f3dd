"""What several tests use: photos and runs made small, a Hub on loopback, answers and pages read."""
