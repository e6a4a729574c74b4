"""Set-up: environments, jars and Java, shared by the container image and the development stack.

Standard library only, except `truststore`.
"""
