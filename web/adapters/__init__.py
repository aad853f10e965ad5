"""The stores, the payment gateway and the event files, behind the ports."""
