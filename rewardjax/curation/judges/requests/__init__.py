"""How a judge is asked: requests that its server takes, one by one or as a batch."""
