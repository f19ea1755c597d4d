"""Who answers a call, and what they can do: personas, and the tools they use."""
