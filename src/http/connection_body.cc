// Connection's bodies: whether one is read at all, how fast it must come, how much room it gets.
#include <algorithm>
#include <array>
#include <chrono>
#include <exception>

#include "http/connection.h"

namespace flagstream::http {
namespace {

constexpr std::size_t kBodyFirstBytes = 64 << 10;
constexpr std::uint64_t kBodyBytesWithoutRate = 64 << 10;
constexpr std::uint64_t kDroppedBodyBytes = 256 << 10;  // of a refused request; else it is closed

}  // namespace

void Connection::enter_body(std::optional<std::uint64_t> bytes) {
  const Limits& limits = shared_.settings.limits;
  enter(Phase::Body, limits.body_deadline);
  body_deadline_ = read_deadline_;
  body_bytes_in_ = 0;
  has_body_rate_ = bytes > kBodyBytesWithoutRate;
  if (has_body_rate_) read_deadline_ = std::min(body_deadline_, after(limits.body_rate_window));
}

void Connection::count_body(std::size_t bytes) {
  const Limits& limits = shared_.settings.limits;
  body_bytes_in_ += bytes;
  const auto window_seconds = std::chrono::duration<double>(limits.body_rate_window).count();
  const auto enough =
      has_body_rate_ ? static_cast<std::uint64_t>(
                           static_cast<double>(limits.body_bytes_per_second_min) * window_seconds)
                     : kBodyBytesWithoutRate;
  if (body_bytes_in_ < enough) return;
  body_bytes_in_ = 0;
  has_body_rate_ = true;
  read_deadline_ = std::min(body_deadline_, after(limits.body_rate_window));
}

io::Task<bool> Connection::read_body(RequestHead& head, const Route& route, ByteBudget& budget) {
  std::optional<Refusal> refusal;
  if (head.content_length > route.body_bytes_max) refusal = Refusal{413, "the body is too large"};
  enter_body(head.is_chunked ? std::nullopt : std::optional(head.content_length));
  if (!refusal && head.expects_continue && filled_ == 0 &&
      !co_await write_text("HTTP/1.1 100 Continue\r\n\r\n")) {
    co_return false;
  }
  if (!refusal) {
    if (head.is_chunked)
      refusal = co_await read_chunked(head, route.body_bytes_max, budget);
    else
      refusal = co_await read_sized(head, budget);
  }
  if (!refusal) co_return true;
  if (is_expired_) {
    refusal = shared_.is_draining ? kStopping : Refusal{408, "the body took too long"};
  }
  std::string().swap(head.request.body);
  budget.give_back();
  head.request.ticket.reset();
  if (ticket_says_ != nullptr) {
    Response response = std::move(*ticket_says_);
    ticket_says_.reset();
    co_await refuse_with(std::move(response), head.request.method);
    co_return false;
  }
  if (refusal->status != 0) co_await refuse(*refusal, &route, &head.request);
  co_return false;
}

// Status 0 stands for a client that has gone.
io::Task<std::optional<Refusal>> Connection::read_sized(RequestHead& head, ByteBudget& budget) {
  std::string& body = head.request.body;
  const std::size_t total = head.content_length;
  const std::size_t at_hand = std::min(filled_, total);
  std::size_t room = std::min(total, std::max(at_hand, kBodyFirstBytes));
  if (const auto refusal = take_room(head, budget, room)) co_return *refusal;
  body.reserve(room);
  body.assign(buffer_.data(), at_hand);
  drop_front(at_hand);
  while (body.size() < total) {
    if (body.size() == room) {
      room = std::min(total, room * 2);
      if (const auto refusal = take_room(head, budget, room)) co_return *refusal;
    }
    const std::size_t before = body.size();
    body.resize_and_overwrite(room, [](char*, std::size_t n) { return n; });
    const std::size_t got = co_await read_some(body.data() + before, room - before);
    body.resize(before + got);
    if (got == 0) co_return Refusal{0, ""};
    count_body(got);
  }
  co_return std::nullopt;
}

io::Task<std::optional<Refusal>> Connection::read_chunked(RequestHead& head, std::size_t bytes_max,
                                                          ByteBudget& budget) {
  ChunkedDecoder decoder(bytes_max);
  for (;;) {
    std::size_t consumed = 0;
    const Progress progress =
        decoder.decode({buffer_.data(), filled_}, consumed, head.request.body);
    drop_front(consumed);
    if (progress == Progress::Refused) {
      shared_.probe.parse_errors.add();
      co_return decoder.refusal();
    }
    if (progress == Progress::Done) co_return std::nullopt;
    if (const auto refusal = take_room(head, budget, head.request.body.size())) co_return *refusal;
    if (buffer_.size() < kBodyFirstBytes && !grow_buffer(kBodyFirstBytes)) {
      co_return Refusal{503, "too many bodies are being received"};
    }
    const std::size_t got = co_await read_some(buffer_.data(), buffer_.size());
    if (got == 0) co_return Refusal{0, ""};
    count_body(got);
    filled_ = got;
  }
}

std::optional<Refusal> Connection::take_room(RequestHead& head, ByteBudget& budget,
                                             std::size_t bytes) {
  if (!budget.grow_to(bytes)) return Refusal{503, "too many bodies are being received"};
  if (head.request.ticket == nullptr) return std::nullopt;
  auto refused = head.request.ticket->grow_to(bytes);
  if (!refused) return std::nullopt;
  ticket_says_ = std::make_unique<Response>(std::move(*refused));
  return Refusal{ticket_says_->status, ""};
}

io::Task<bool> Connection::admit(RequestHead& head, const Route& route, bool& goes_on) {
  const std::optional<std::uint64_t> bytes =
      head.is_chunked ? std::nullopt : std::optional(head.content_length);
  enter(Phase::Handler, {});
  read_deadline_ = kNever;
  std::optional<Response> refused;
  try {
    refused = co_await route.admit(head.request, bytes);
  } catch (const std::exception& failure) {
    refused = failed(route, failure);
  }
  if (!refused) co_return true;
  if (is_failing_ && route.complete_error) route.complete_error(head.request, *refused);
  // A small body is dropped, so that the client keeps its connection.  One that waits to be told to
  // go on may be sent or not.
  const bool is_dropped = bytes.value_or(kDroppedBodyBytes + 1) <= kDroppedBodyBytes &&
                          !head.expects_continue && !is_failing_;
  if (bytes != 0 && !is_dropped) head.keeps_alive = false;
  goes_on = co_await answer(head, *refused);
  if (bytes == 0) co_return false;
  if (is_dropped && goes_on) {
    goes_on = co_await drop_body(*bytes);
  } else {
    goes_on = false;
    co_await linger();
  }
  co_return false;
}

io::Task<bool> Connection::drop_body(std::uint64_t bytes) {
  thread_local std::array<char, kBodyFirstBytes> ignored;
  enter_body(bytes);
  const std::size_t at_hand = std::min<std::uint64_t>(filled_, bytes);
  drop_front(at_hand);
  for (std::uint64_t left = bytes - at_hand; left > 0;) {
    const std::size_t got =
        co_await read_some(ignored.data(), std::min<std::uint64_t>(left, ignored.size()));
    if (got == 0) co_return false;
    count_body(got);
    left -= got;
  }
  co_return true;
}

}  // namespace flagstream::http
