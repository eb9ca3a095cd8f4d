# A project on top of Noria's image: what a compiled pipeline finds at `kubeflow.project`.
#
#   docker build -t registry.example.com/ml/rides:1 -f deploy/project.Dockerfile my-project
ARG NORIA=noria:latest
FROM ${NORIA}
COPY . /noria/project
