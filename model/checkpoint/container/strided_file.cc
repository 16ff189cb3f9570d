#include "model/checkpoint/container/strided_file.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/tensor_type.h"

namespace peerage {
namespace {

constexpr int64_t kMaxPieceBytes = 1 << 20;
constexpr int64_t kMaxWaste = 64;  // elements passed over for one that is wanted

// One dimension of a box of elements.
struct BoxSide {
  int64_t length = 0;
  int64_t stored_stride = 0;  // in elements of the file
  int64_t wanted_stride = 0;  // in elements of the result
};

// Copies a box of elements from a file into a result.
class BoxReader {
 public:
  BoxReader(const RandomAccessFile& file, const StridedLayout& layout, absl::Span<uint8_t> result)
      : file_(file), layout_(layout), width_(layout.element_bytes), result_(result) {}

  // Sides in descending order of their strides in the file; positions in elements. Elements that
  // lie near each other are read together, with what lies between them.
  absl::Status Read(absl::Span<BoxSide> sides, int64_t stored, int64_t wanted) {
    int64_t count = 1;
    for (const BoxSide& side : sides) count *= side.length;
    const int64_t span = Span(sides);
    if (span * width_ <= kMaxPieceBytes && span / kMaxWaste <= count) {
      return ReadPiece(sides, stored, wanted);
    }
    BoxSide outer = sides.front();
    const int64_t step =
        LengthAtOnce(outer, count / outer.length, Span(sides.subspan(1)), kMaxPieceBytes / width_);
    for (int64_t first = 0; first < outer.length; first += step) {
      const int64_t from = stored + first * outer.stored_stride;
      const int64_t to = wanted + first * outer.wanted_stride;
      if (step == 1) {
        RETURN_IF_ERROR(Read(sides.subspan(1), from, to));
        continue;
      }
      sides.front().length = std::min(step, outer.length - first);
      RETURN_IF_ERROR(ReadPiece(sides, from, to));
    }
    sides.front() = outer;
    return absl::OkStatus();
  }

 private:
  // Elements of the file from a box's first to its last.
  static int64_t Span(absl::Span<const BoxSide> sides) {
    int64_t span = 1;
    for (const BoxSide& side : sides) span += (side.length - 1) * side.stored_stride;
    return span;
  }

  // How much of a side is read together, when one of it has `count` elements in a span of `span`.
  static int64_t LengthAtOnce(const BoxSide& side, int64_t count, int64_t span, int64_t room) {
    if (span >= room || side.stored_stride / kMaxWaste > count) return 1;
    return std::min(side.length, (room - span) / side.stored_stride + 1);
  }

  absl::Status ReadPiece(absl::Span<const BoxSide> sides, int64_t stored, int64_t wanted) {
    piece_.resize(Span(sides) * width_);
    RETURN_IF_ERROR(file_.Read(layout_.offset + stored * width_, absl::MakeSpan(piece_)));
    Place(sides, 0, wanted);
    return absl::OkStatus();
  }

  void Place(absl::Span<const BoxSide> sides, int64_t from, int64_t to) {
    if (sides.empty()) return PlaceElement(&piece_[from * width_], &result_[to * width_]);
    const BoxSide& side = sides.front();
    for (int64_t i = 0; i < side.length; ++i) {
      Place(sides.subspan(1), from + i * side.stored_stride, to + i * side.wanted_stride);
    }
  }

  void PlaceElement(const uint8_t* from, uint8_t* to) const {
    if (layout_.swap_bytes) {
      std::reverse_copy(from, from + width_, to);
    } else {
      std::memcpy(to, from, width_);
    }
  }

  const RandomAccessFile& file_;
  const StridedLayout& layout_;
  const int64_t width_;
  const absl::Span<uint8_t> result_;
  std::vector<uint8_t> piece_;
};

// Cuts a range of row-major elements into boxes.
class RangeReader {
 public:
  RangeReader(const StridedLayout& layout, BoxReader& reader, int64_t first)
      : layout_(layout), reader_(reader), first_(first) {}

  // Elements [first, end) of the dimensions from `dimension` on, whose first one is the file's
  // number `stored` and the tensor's number `index`.
  absl::Status Read(size_t dimension, int64_t stored, int64_t index, int64_t first, int64_t end) {
    const absl::Span<const int64_t> shape = absl::MakeSpan(layout_.shape).subspan(dimension);
    const int64_t all = Elements({shape.data(), shape.size()});
    if (end - first == all)
      return ReadRows(dimension, 0, shape.empty() ? 1 : shape[0], stored, index);
    const int64_t inner = all / shape[0];
    const auto read_part = [&](int64_t row) {
      return Read(dimension + 1, stored + row * layout_.strides[dimension], index + row * inner,
                  std::max(first - row * inner, int64_t{0}), std::min(end - row * inner, inner));
    };
    const int64_t whole = (first + inner - 1) / inner, whole_end = end / inner;
    if (first % inner != 0) RETURN_IF_ERROR(read_part(first / inner));
    if (whole < whole_end) RETURN_IF_ERROR(ReadRows(dimension, whole, whole_end, stored, index));
    return end % inner != 0 && whole <= whole_end ? read_part(whole_end) : absl::OkStatus();
  }

 private:
  // Rows [first, end) of a dimension, whole.
  absl::Status ReadRows(size_t dimension, int64_t first, int64_t end, int64_t stored,
                        int64_t index) {
    std::vector<BoxSide> sides;
    int64_t inner = 1;
    for (size_t i = layout_.shape.size(); i-- > dimension;) {
      sides.push_back({layout_.shape[i], layout_.strides[i], inner});
      inner *= layout_.shape[i];
    }
    if (!sides.empty()) {
      BoxSide& outer = sides.back();
      outer.length = end - first;
      stored += first * outer.stored_stride;
      index += first * outer.wanted_stride;
    }
    std::stable_sort(sides.begin(), sides.end(), [](const BoxSide& a, const BoxSide& b) {
      return a.stored_stride > b.stored_stride;
    });
    return reader_.Read(absl::MakeSpan(sides), stored, index - first_);
  }

  const StridedLayout& layout_;
  BoxReader& reader_;
  const int64_t first_;  // row-major index of the result's first element
};

uint64_t BytesOf(const StridedLayout& layout) {
  return static_cast<uint64_t>(Elements(layout.shape)) * layout.element_bytes;
}

}  // namespace

StridedFile::StridedFile(const RandomAccessFile& base, StridedLayout layout)
    : base_(base), layout_(std::move(layout)), size_(BytesOf(layout_)) {}

absl::Status StridedFile::Read(uint64_t offset, absl::Span<uint8_t> bytes) const {
  if (offset > size_ || bytes.size() > size_ - offset) {
    return absl::OutOfRangeError(absl::StrCat(path(), ": ", bytes.size(), " bytes at offset ",
                                              offset, " lie beyond a tensor's ", size_));
  }
  if (bytes.empty()) return absl::OkStatus();
  const uint64_t width = layout_.element_bytes;
  const uint64_t first = offset / width, end = (offset + bytes.size() + width - 1) / width;
  std::vector<uint8_t> whole;  // elements, where the bytes begin or end within one
  const bool aligned = offset % width == 0 && bytes.size() % width == 0;
  if (!aligned) whole.resize((end - first) * width);
  BoxReader boxes(base_, layout_, aligned ? bytes : absl::MakeSpan(whole));
  RETURN_IF_ERROR(RangeReader(layout_, boxes, first).Read(0, 0, 0, first, end));
  if (!aligned) std::copy_n(whole.begin() + offset % width, bytes.size(), bytes.begin());
  return absl::OkStatus();
}

}  // namespace peerage
