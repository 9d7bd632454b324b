"""The greatest value of a setting with which a criterion still holds, found by runs."""
