// Coroutines of one shard.  A Task runs on the io_context of the thread that spawned it and is
// never moved to another, so what it touches needs no lock.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace flagstream::io {

namespace net = boost::asio;

using Executor = net::io_context::executor_type;

template <class T = void>
using Task = net::awaitable<T, Executor>;

// co_await socket.async_read_some(buffer, io::as_value) yields [error_code, value...]: no
// exceptions.
inline constexpr auto as_value = net::as_tuple(net::use_awaitable_t<Executor>());

}  // namespace flagstream::io
