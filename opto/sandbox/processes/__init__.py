"""The processes that candidates live in, as the user's process knows them: what starts one, and the talk with it."""
