"""What users write: units, playbooks, inventories, topologies. Pure data; errors carry file:line:column."""
