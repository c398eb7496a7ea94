"""The operations other than chat, a public function and its awaited twin in each module."""
