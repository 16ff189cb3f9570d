#include "server/door/tls_stream.h"

#include <gtest/gtest.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <vector>

namespace peerage {
namespace {

struct FreeCertificate {
  void operator()(X509* owned) const { X509_free(owned); }
  void operator()(X509_EXTENSION* owned) const { X509_EXTENSION_free(owned); }
};

// Whom a certificate with these names has; each of `alternatives` is an extension, as OpenSSL's
// configuration writes one.
std::string NameOf(const std::vector<std::string>& common_names,
                   const std::vector<std::string>& alternatives) {
  const std::unique_ptr<X509, FreeCertificate> certificate(X509_new());
  for (const std::string& name : common_names) {
    X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate.get()), NID_commonName,
                               MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.c_str()),
                               -1, -1, 0);
  }
  for (const std::string& value : alternatives) {
    const std::unique_ptr<X509_EXTENSION, FreeCertificate> extension(
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, value.c_str()));
    EXPECT_NE(extension, nullptr) << value;
    X509_add_ext(certificate.get(), extension.get(), -1);
  }
  return CertificateName(certificate.get());
}

TEST(CertificateNameTest, IsTheSpiffeIdElseADnsNameElseTheCommonName) {
  EXPECT_EQ(NameOf({"a"}, {}), "a");
  EXPECT_EQ(NameOf({"a"}, {"DNS:b,DNS:c"}), "b");
  EXPECT_EQ(NameOf({"a"}, {"DNS:b,URI:spiffe://corp/d"}), "spiffe://corp/d");
  EXPECT_EQ(NameOf({"a"}, {"URI:https://corp/d"}), "a");
  EXPECT_EQ(NameOf({}, {}), "");
  const std::string longest = "spiffe://corp/" + std::string(2034, 'x');
  EXPECT_EQ(NameOf({}, {"URI:" + longest}), longest);
}

TEST(CertificateNameTest, IsNobodysWhereItIsNotPlain) {
  EXPECT_EQ(NameOf({"a"}, {"URI:spiffe://corp/d,URI:spiffe://corp/e"}), "");
  EXPECT_EQ(NameOf({"a", "b"}, {}), "");
  EXPECT_EQ(NameOf({"spiffe://corp/admin"}, {}), "");
  EXPECT_EQ(NameOf({"SPIFFE://corp/admin"}, {}), "");
  EXPECT_EQ(NameOf({"a"}, {"DNS:spiffe://corp/admin"}), "");
  EXPECT_EQ(NameOf({"a"}, {"DNS:b", "DNS:c"}), "") << "two extensions";
}

}  // namespace
}  // namespace peerage
