"""The reward models of the loop: trained on pools, they score pairs and err on gold."""
