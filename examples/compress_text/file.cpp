#include "file.hpp"

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../console.hpp"
#include "checksum.hpp"

namespace compress_text {
namespace {

static_assert(std::endian::native == std::endian::little, "compress_text writes the numbers of its processor");

constexpr std::uint32_t longest_header = 1 << 20;
/// Blocks are at most 1 MB, and coded bytes that surprise the model are a little longer.
constexpr std::uint32_t largest_block = 1 << 20, largest_coded = 8 << 20;

template <class Number>
std::span<const std::byte> bytes_of(const Number& number) {
  return std::as_bytes(std::span(&number, 1));
}
template <class Number>
std::span<std::byte> place_of(Number& number) {
  return std::as_writable_bytes(std::span(&number, 1));
}

std::uint64_t check_after(std::uint64_t before, const block_record& record, std::span<const std::byte> content) {
  checksum sum(before);
  sum.add(bytes_of(record.bytes));
  sum.add(bytes_of(record.coded_bytes));
  sum.add(bytes_of(record.sum));
  sum.add(content);
  return sum.sum();
}

std::uint64_t check_of_header(std::string_view text) {
  const auto length = static_cast<std::uint32_t>(text.size());
  checksum sum;
  sum.add(std::as_bytes(std::span(mark)));
  sum.add(bytes_of(length));
  sum.add(std::as_bytes(std::span(text)));
  return sum.sum();
}

}  // namespace

source::source(const std::string& path)
    : name_(path == "-" ? "standard input" : strata::to_text(std::filesystem::path(path))) {
  if (path != "-") {
    owned_ = strata::detail::file_descriptor(
        strata::detail::uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_NOCTTY | O_CLOEXEC); }));
    descriptor_ = owned_.number();
  }
  struct stat status {};
  if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0)
    strata::fail("cannot read ", name_, ": ", std::generic_category().message(errno));
  strata::require(!S_ISDIR(status.st_mode), "cannot read ", name_, ": it is a directory");
  if (S_ISREG(status.st_mode)) size_ = static_cast<std::uint64_t>(status.st_size);
}

std::size_t source::read(std::span<std::uint8_t> target) {
  std::size_t done = 0;
  while (done < target.size()) {
    // Only waiting for a pipe takes long, and poll ends when the user interrupts the program.
    pollfd ready{descriptor_, POLLIN, 0};
    const int events = size_ ? 1 : ::poll(&ready, 1, -1);
    if (examples::interrupted) throw interruption();
    if (events < 0 && errno == EINTR) continue;
    const ssize_t count = ::read(descriptor_, target.data() + done, target.size() - done);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count < 0) strata::fail("cannot read ", name_, ": ", std::generic_category().message(errno));
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  return done;
}

void source::rewind() {
  if (::lseek(descriptor_, 0, SEEK_SET) != 0)
    strata::fail("cannot read ", name_, " a second time: ", std::generic_category().message(errno));
}

void record_writer::put(std::span<const std::byte> bytes) {
  output_->write(bytes);
  position_ += bytes.size();
}
void record_writer::header(const nlohmann::json& header) {
  const std::string text = header.dump();
  const auto length = static_cast<std::uint32_t>(text.size());
  check_ = check_of_header(text);
  put(std::as_bytes(std::span(mark)));
  put(bytes_of(length));
  put(std::as_bytes(std::span(text)));
  put(bytes_of(check_));
}
void record_writer::block(const block_record& record, std::span<const std::uint8_t> coded) {
  check_ = check_after(check_, record, std::as_bytes(coded));
  put(bytes_of(record.bytes));
  put(bytes_of(record.coded_bytes));
  put(bytes_of(record.sum));
  put(std::as_bytes(coded));
  put(bytes_of(check_));
}
void record_writer::end(std::uint64_t bytes, std::uint64_t sum) {
  std::array<std::uint8_t, sizeof bytes> content{};
  std::memcpy(content.data(), &bytes, sizeof bytes);
  block({.sum = sum}, content);
}

void record_reader::fail(const std::string& what) const {
  strata::fail(source_->name(), ": ", what, "; the file is good up to byte ", good_);
}
void record_reader::take(std::span<std::byte> target, const char* what) {
  std::span<std::uint8_t> bytes(reinterpret_cast<std::uint8_t*>(target.data()), target.size());
  const std::size_t count = source_->read(bytes);
  position_ += count;
  if (count < target.size()) fail(strata::to_text("it ends after ", position_, " bytes, inside ", what));
}

nlohmann::json record_reader::header() {
  std::array<char, mark.size()> found{};
  const std::size_t count = source_->read({reinterpret_cast<std::uint8_t*>(found.data()), found.size()});
  position_ += count;
  strata::require(std::string_view(found.data(), count) == mark, source_->name(), " was not written by compress_text");
  std::uint32_t length = 0;
  take(place_of(length), "the header");
  if (length > longest_header) fail("its header is damaged");
  std::string text(length, ' ');
  take(std::as_writable_bytes(std::span(text)), "the header");
  take(place_of(check_), "the header");
  if (check_ != check_of_header(text)) fail("its header is damaged");
  const nlohmann::json header = nlohmann::json::parse(text, nullptr, false);
  if (!header.is_object()) fail("its header is not a JSON object");
  good_ = position_;
  return header;
}

bool record_reader::block(block_record& record, std::vector<std::uint8_t>& coded) {
  record = {};
  take(place_of(record.bytes), "a block");
  take(place_of(record.coded_bytes), "a block");
  take(place_of(record.sum), "a block");
  const bool ends = record.bytes == 0;
  if (record.bytes > largest_block || record.coded_bytes > largest_coded || (ends && record.coded_bytes > 0))
    fail("the next block is damaged");
  coded.resize(ends ? sizeof bytes_ : record.coded_bytes);
  take(std::as_writable_bytes(std::span(coded)), "a block");
  std::uint64_t check = 0;
  take(place_of(check), "a block");
  check_ = check_after(check_, record, std::as_bytes(std::span(coded)));
  if (check != check_) fail("the next block is damaged");
  if (!ends) {
    bytes_ += record.bytes;
    good_ = position_;
    return true;
  }
  std::uint64_t bytes = 0;
  std::memcpy(&bytes, coded.data(), sizeof bytes);
  if (bytes != bytes_) fail("its end is damaged");
  sum_ = record.sum;
  good_ = position_;
  std::uint8_t after = 0;
  if (source_->read({&after, 1}) > 0) fail("other bytes follow its end");
  return false;
}

}  // namespace compress_text
