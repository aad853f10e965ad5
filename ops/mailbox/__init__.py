"""A mailbox for development: a mail server that takes every mail and delivers none, and pages that
show them. The mails are files that any mail program opens."""
