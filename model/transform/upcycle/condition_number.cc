#include "model/transform/upcycle/condition_number.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace peerage::transform {
namespace {

// A symmetric matrix.
class Symmetric {
 public:
  explicit Symmetric(int size) : size_(size), values_(size_t(size) * size) {}

  double& operator()(int i, int j) { return values_[size_t(i) * size_ + j]; }

  // Jacobi's method: rotations that make off-diagonal values zero, one pair at a time, until only
  // the diagonal is left.
  std::vector<double> Eigenvalues() {
    constexpr int kMostSweeps = 64;  // a dozen are enough in practice
    for (int sweep = 0; sweep < kMostSweeps && !IsDiagonal(); ++sweep) {
      for (int p = 0; p < size_; ++p) {
        for (int q = p + 1; q < size_; ++q) RotateAway(p, q);
      }
    }
    std::vector<double> eigenvalues;
    for (int i = 0; i < size_; ++i) eigenvalues.push_back((*this)(i, i));
    return eigenvalues;
  }

 private:
  bool IsDiagonal() {
    double diagonal = 0, rest = 0;
    for (int i = 0; i < size_; ++i) {
      for (int j = 0; j < size_; ++j) {
        (i == j ? diagonal : rest) += (*this)(i, j) * (*this)(i, j);
      }
    }
    return rest <= 1e-30 * diagonal;
  }

  void RotateAway(int p, int q) {
    const double off = (*this)(p, q);
    if (off == 0) return;
    const double ratio = ((*this)(q, q) - (*this)(p, p)) / (2 * off);
    const double tangent = std::copysign(1 / (std::abs(ratio) + std::hypot(ratio, 1)), ratio);
    const double cosine = 1 / std::hypot(tangent, 1);
    const double sine = tangent * cosine;
    for (int i = 0; i < size_; ++i) {
      const double a = (*this)(i, p), b = (*this)(i, q);
      (*this)(i, p) = cosine * a - sine * b;
      (*this)(i, q) = sine * a + cosine * b;
    }
    for (int i = 0; i < size_; ++i) {
      const double a = (*this)(p, i), b = (*this)(q, i);
      (*this)(p, i) = cosine * a - sine * b;
      (*this)(q, i) = sine * a + cosine * b;
    }
  }

  const int size_;
  std::vector<double> values_;
};

}  // namespace

// The eigenvalues of M M^T are the squares of M's singular values.
double ConditionNumber(absl::Span<const float> values, int rows) {
  const size_t columns = values.size() / rows;
  Symmetric products(rows);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < rows; ++j) {
      double sum = 0;
      for (size_t c = 0; c < columns; ++c) {
        sum += double{values[i * columns + c]} * values[j * columns + c];
      }
      products(i, j) = sum;
    }
  }
  const std::vector<double> squares = products.Eigenvalues();
  const auto [least, most] = std::minmax_element(squares.begin(), squares.end());
  constexpr double kRounding = 1e-12;  // of the squares, far above f64's
  if (*least <= kRounding * *most) return std::numeric_limits<double>::infinity();
  return std::sqrt(*most / *least);
}

}  // namespace peerage::transform
