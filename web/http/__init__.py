"""What HTTP is to every route, whether it answers programs or people."""
