"""What the trained model of a run is asked for its report, as plain data for the panels."""
