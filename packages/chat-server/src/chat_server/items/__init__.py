"""What users have earned: items and badges, given once for each reason, kept in a backpack, spent or worn."""
