// The one translation unit that holds Asio's separately compiled parts
// (BOOST_ASIO_SEPARATE_COMPILATION).
#include <boost/asio/impl/src.hpp>
