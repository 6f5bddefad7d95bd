"""Is a gradient right? Compare the pullbacks of any function with central finite differences."""
gradcheck = None
