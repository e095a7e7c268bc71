"""Where ECGs come from: one small file a data set behind one protocol, and the store."""
