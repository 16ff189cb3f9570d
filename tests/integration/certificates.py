"""Certificates for tests, by the openssl command: authorities, and what they issue."""

import pathlib
import subprocess

EXTENSIONS = "basicConstraints=critical,CA:{ca}\nkeyUsage=critical,{usage}\n"


def openssl(*arguments, text_in=None):
    done = subprocess.run(["openssl", *map(str, arguments)], input=text_in, capture_output=True, text=True,
                          check=False, timeout=60)
    if done.returncode != 0:
        raise AssertionError(f"openssl {arguments[0]}: {done.stderr}")
    return done.stdout


class Certificate:
    """A certificate and its key, as files of PEM."""

    def __init__(self, folder, name, chain=()):
        self.path = pathlib.Path(folder) / f"{name}.pem"
        self.key = pathlib.Path(folder) / f"{name}.key"
        self.chain = chain  # what leads to the authority, as certificates

    def with_chain(self):
        return self.path.read_text() + "".join(c.path.read_text() for c in self.chain)


class Authority(Certificate):
    """Issues certificates. Without an issuer it signs itself."""

    def __init__(self, folder, name, issuer=None, days=30):
        super().__init__(folder, name, (issuer, *issuer.chain) if issuer else ())
        self.folder = folder
        _make(self, name, issuer or self, days=days, ca="TRUE", usage="keyCertSign,cRLSign")

    def issue(self, name, *, common_name=None, alternatives="", days=30, purpose="clientAuth,serverAuth"):
        """`alternatives` as in "DNS:localhost,IP:127.0.0.1,URI:spiffe://example.org/a"; with negative
        `days` it has expired."""
        issued = Certificate(self.folder, name, () if self.chain == () else (self,))
        _make(issued, name if common_name is None else common_name, self, days=days, ca="FALSE",
              usage="digitalSignature", more=f"extendedKeyUsage={purpose}\n"
              + (f"subjectAltName={alternatives}\n" if alternatives else ""))
        return issued


def _make(certificate, common_name, issuer, *, days, ca, usage, more=""):
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", certificate.key)
    request = openssl("req", "-new", "-key", certificate.key, "-subj", f"/CN={common_name}" if common_name else "/O=none")
    extensions = certificate.path.with_suffix(".ext")
    extensions.write_text(EXTENSIONS.format(ca=ca, usage=usage) + more)
    signer = (["-signkey", certificate.key] if issuer is certificate
              else ["-CA", issuer.path, "-CAkey", issuer.key, "-CAcreateserial"])
    certificate.path.write_text(openssl("x509", "-req", "-days", days, "-extfile", extensions, *signer, text_in=request))
