from quick_passwords import _quick_passwords

__all__ = ["_quick_passwords"]
