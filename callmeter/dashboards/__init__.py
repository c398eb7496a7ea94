"""Questions to the ledger, and the page that shows their answers."""
