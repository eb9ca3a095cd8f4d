# Stands in for python:X.Y-slim-RELEASE where no registry can be reached: debian.tar is that release of Debian with the
# Python of an older one. C headers come without the package that has them, which would bring a C library's headers.
FROM scratch
ARG PYTHON
ADD debian.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN cd /tmp && apt-get update -qq && apt-get download -qq libpython$PYTHON-dev && dpkg -x libpython$PYTHON-dev_*.deb headers \
    && cp -a headers/usr/include/. /usr/include/ \
    && rm -rf /tmp/* /var/lib/apt/lists/* /usr/lib/python$PYTHON/EXTERNALLY-MANAGED \
    && sed -i 2,\$d /etc/apt/sources.list \
    && for name in python python3 python$PYTHON; do ln -s /usr/bin/python$PYTHON /usr/local/bin/$name; done \
    && printf '#!/bin/sh\nexec python3 %s/pip "$@"\n' /usr/share/python-wheels/pip-*.whl > /usr/local/bin/pip \
    && chmod 755 /usr/local/bin/pip
