"""Where the knowledge comes from: models that are given, or trained once and cached."""
