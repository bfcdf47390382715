"""Who may do what: users, their sessions, API tokens, and which pages an organization sees."""
