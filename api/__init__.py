"""The HTTP service: answers questions about emotions, classifies texts, and streams live windows."""
