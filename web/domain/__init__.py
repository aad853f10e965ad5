"""Events, sales and their rules, independent of any store or interface."""
